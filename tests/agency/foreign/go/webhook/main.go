// Webhook verifies a message with the Go library of Standard Webhooks, and tells what is in it.
//
// Standard input: {"secret": "whsec_…", "headers": {…}, "body": "…"}.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

type told struct {
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

func main() {
	var heard told
	err := json.NewDecoder(os.Stdin).Decode(&heard)
	if err == nil {
		err = verify(heard)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func verify(heard told) error {
	header := http.Header{}
	for name, text := range heard.Headers {
		header.Set(name, text)
	}
	webhook, err := webhooks.NewWebhook(heard.Secret)
	if err != nil {
		return err
	}
	if err := webhook.Verify([]byte(heard.Body), header); err != nil {
		return err
	}
	_, err = fmt.Print(heard.Body) // JSON, as it came
	return err
}
