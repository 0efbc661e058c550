// Events hands in a declaration as a CloudEvent with the Go SDK, in structured, binary or batched mode.
//
// Standard input: {"address": "…/v1/declarations", "token": "…", "mode": "structured", "attributes": {…}, "data": "<base64>"}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	httpbinding "github.com/cloudevents/sdk-go/v2/protocol/http"
)

type told struct {
	Address    string            `json:"address"`
	Token      string            `json:"token"`
	Mode       string            `json:"mode"`
	Attributes map[string]string `json:"attributes"`
	Data       []byte            `json:"data"`
}

func main() {
	var asked told
	err := json.NewDecoder(os.Stdin).Decode(&asked)
	if err == nil {
		err = declare(asked)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func declare(asked told) error {
	at, err := time.Parse(time.RFC3339, asked.Attributes["time"])
	if err != nil {
		return err
	}
	event := cloudevents.NewEvent()
	event.SetID(asked.Attributes["id"])
	event.SetSource(asked.Attributes["source"])
	event.SetType(asked.Attributes["type"])
	event.SetTime(at)
	event.SetDataSchema(asked.Attributes["dataschema"])
	if err := event.SetData(asked.Attributes["datacontenttype"], asked.Data); err != nil {
		return err
	}
	if asked.Mode == "batch" {
		return declareBatch(asked, event)
	}
	ctx := cloudevents.WithEncodingStructured(context.Background())
	if asked.Mode == "binary" {
		ctx = cloudevents.WithEncodingBinary(context.Background())
	}
	client, err := cloudevents.NewClientHTTP(
		cloudevents.WithTarget(asked.Address),
		cloudevents.WithHeader("Authorization", "Bearer "+asked.Token),
	)
	if err != nil {
		return err
	}
	result := client.Send(ctx, event)
	if !cloudevents.IsACK(result) {
		return result
	}
	var answer *httpbinding.Result
	if !errors.As(result, &answer) {
		return fmt.Errorf("no answer of HTTP: %v", result)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"status": answer.StatusCode})
}

func declareBatch(asked told, events ...cloudevents.Event) error {
	request, err := httpbinding.NewHTTPRequestFromEvents(context.Background(), asked.Address+":batch", events)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+asked.Token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"status": answer.StatusCode})
}
