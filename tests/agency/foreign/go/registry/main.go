// Registry reads a broker's registry with franz-go's client, and a framed record's header with its reader.
//
// Standard input: {"address": "…/registry", "subject": "…", "message": "<base64>", "other": "<a schema that is not there>"}.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/sr"
)

type told struct {
	Address string `json:"address"`
	Subject string `json:"subject"`
	Message []byte `json:"message"`
	Other   string `json:"other"`
}

func main() {
	var asked told
	err := json.NewDecoder(os.Stdin).Decode(&asked)
	if err == nil {
		err = read(context.Background(), asked)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(ctx context.Context, asked told) error {
	client, err := sr.NewClient(sr.URLs(asked.Address))
	if err != nil {
		return err
	}
	types, err := client.SupportedTypes(ctx)
	if err != nil {
		return err
	}
	listed, err := lists(ctx, client, asked.Subject)
	if err != nil {
		return err
	}
	versions, err := client.SubjectVersions(ctx, asked.Subject)
	if err != nil {
		return err
	}
	latest, err := client.SchemaByVersion(ctx, asked.Subject, -1)
	if err != nil {
		return err
	}
	known, err := same(ctx, client, asked, latest)
	if err != nil {
		return err
	}
	errs, err := refused(ctx, client, asked)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"types": types, "lists": listed, "versions": versions, "version": latest.Version, "id": latest.ID,
		"schema": latest.Schema.Schema, "references": known, "errors": errs,
		"level": client.Compatibility(ctx, asked.Subject)[0].Level.String(), "mode": client.Mode(ctx)[0].Mode.String(),
	})
}

// lists counts what the registry lists: all of it, and what has this subject's name.
func lists(ctx context.Context, client *sr.Client, subject string) (map[string]int, error) {
	contexts, err := client.Contexts(ctx)
	if err != nil {
		return nil, err
	}
	subjects, err := client.Subjects(ctx)
	if err != nil {
		return nil, err
	}
	named, err := client.Subjects(sr.WithParams(ctx, sr.SubjectPrefix(subject)))
	if err != nil {
		return nil, err
	}
	schemas, err := client.AllSchemas(ctx)
	if err != nil {
		return nil, err
	}
	some, err := client.AllSchemas(sr.WithParams(ctx, sr.LatestOnly, sr.Offset(1), sr.Limit(2)))
	if err != nil {
		return nil, err
	}
	return map[string]int{
		"contexts": len(contexts), "subjects": len(subjects), "named": len(named), "schemas": len(schemas), "some": len(some),
	}, nil
}

// same asks for one schema in every way that there is: all have to give the same.
func same(ctx context.Context, client *sr.Client, asked told, latest sr.SubjectSchema) (references int, err error) {
	var header sr.ConfluentHeader
	number, _, err := header.DecodeID(asked.Message)
	if err != nil {
		return 0, err
	}
	byID, err := client.SchemaByID(ctx, number)
	if err != nil {
		return 0, err
	}
	looked, err := client.LookupSchema(ctx, asked.Subject, latest.Schema)
	if err != nil {
		return 0, err
	}
	made, err := client.CreateSchema(ctx, asked.Subject, latest.Schema)
	if err != nil {
		return 0, err
	}
	fits, err := client.CheckCompatibility(ctx, asked.Subject, -1, latest.Schema)
	if err != nil {
		return 0, err
	}
	all, err := client.Schemas(ctx, asked.Subject)
	if err != nil {
		return 0, err
	}
	if byID.Schema != latest.Schema.Schema || looked.ID != number || made.ID != number || !fits.Is || len(all) == 0 {
		return 0, fmt.Errorf("not the same: %d, %d, %d, %v, %d", number, looked.ID, made.ID, fits.Is, len(all))
	}
	using, err := client.SchemaReferences(ctx, asked.Subject, latest.Version)
	return len(using), err
}

// refused gives what the client makes of each refusal: the name that its user asks for.
func refused(ctx context.Context, client *sr.Client, asked told) (map[string]string, error) {
	other := sr.Schema{Schema: asked.Other}
	calls := map[string]func() error{
		"subject":  func() error { _, err := client.SubjectVersions(ctx, "nothing.here"); return err },
		"version":  func() error { _, err := client.SchemaByVersion(ctx, asked.Subject, 9999); return err },
		"id":       func() error { _, err := client.SchemaByID(ctx, 7); return err },
		"look up":  func() error { _, err := client.LookupSchema(ctx, asked.Subject, other); return err },
		"register": func() error { _, err := client.CreateSchema(ctx, asked.Subject, other); return err },
		"delete":   func() error { _, err := client.DeleteSubject(ctx, asked.Subject, sr.SoftDelete); return err },
		"invalid":  func() error { _, err := client.LookupSchema(ctx, asked.Subject, sr.Schema{Schema: "{"}); return err },
	}
	names := map[string]string{}
	for name, call := range calls {
		var answer *sr.ResponseError
		if err := call(); !errors.As(err, &answer) {
			return nil, fmt.Errorf("%s: %v", name, err)
		}
		names[name] = answer.SchemaError().Name
	}
	return names, nil
}
