// Publish: a record from a topic of your own, in Confluent's wire format, becomes a declaration.
//
// The schema is found by the id in the record's header, at the broker's registry, by Confluent's own client (as the jar
// flink-sql-avro-confluent-registry carries it); the record is handed to the signing sidecar on this machine.
//
//     java -cp "jars/*" Publish.java REGISTRY RECORD-FILE SIDECAR LOCAL-TOKEN-FILE
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;

import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import org.apache.flink.avro.shaded.org.apache.avro.Schema;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericDatumReader;
import org.apache.flink.avro.shaded.org.apache.avro.generic.GenericRecord;
import org.apache.flink.avro.shaded.org.apache.avro.io.DecoderFactory;
import org.apache.flink.formats.avro.registry.confluent.ConfluentSchemaRegistryCoder;

class Publish {
    public static void main(String[] words) throws Exception {
        var registry = new CachedSchemaRegistryClient(words[0], 10);
        var message = new ByteArrayInputStream(Files.readAllBytes(Path.of(words[1])));
        Schema schema = new ConfluentSchemaRegistryCoder(registry).readSchema(message); // the five bytes in front
        GenericRecord record = new GenericDatumReader<GenericRecord>(schema)
            .read(null, DecoderFactory.get().binaryDecoder(message, null));
        System.out.println(schema.getFullName() + " of " + ((GenericRecord) record.get("subject")).get("family_name"));

        // Avro's own JSON of a generic record names each field plainly, which is what the sidecar takes.
        String asked = "{\"event_type\": \"" + schema.getProp("eventType") + "\", \"record\": " + record + "}";
        HttpRequest request = HttpRequest.newBuilder(URI.create(words[2] + "/v1/declarations"))
            .header("Authorization", "Bearer " + Files.readString(Path.of(words[3])).strip())
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", Path.of(words[1]).getFileName().toString()) // the same file is said once
            .POST(HttpRequest.BodyPublishers.ofString(asked)).build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.body());
        System.exit(answer.statusCode() / 100 == 2 ? 0 : 1);
    }
}
