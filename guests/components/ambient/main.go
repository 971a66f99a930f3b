// Package main uses all of Go's library that needs an operating system, to test what a component gets.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"ambient/heddle"
	"ambient/heddle/contracts"
)

func init() {
	heddle.Export(ambient{})
	fmt.Println("started at", time.Now().UnixMilli(), "with", numbers())
}

func main() {}

type ambient struct{}

func numbers() string {
	bytes := make([]byte, 8)
	_, err := rand.Read(bytes)
	return fmt.Sprint(bytes, err)
}

var kept []string

func (ambient) OnIn(script contracts.Script) error {
	did := ""
	switch script.Do {
	case "time":
		start := time.Now()
		time.Sleep(time.Hour)
		did = fmt.Sprint(start.UnixMilli(), " ", time.Since(start).Truncate(time.Minute), " ", start)
	case "random":
		did = numbers()
	case "environment":
		folder, err := os.Getwd()
		did = fmt.Sprint(len(os.Args), " ", os.Environ(), " ", folder, " ", err)
	case "files":
		_, read := os.ReadFile("/etc/hostname")
		write := os.WriteFile("there", nil, 0o600)
		input, err := io.ReadAll(os.Stdin)
		did = fmt.Sprint(read, "; ", write, "; ", input, " ", err)
	case "network":
		_, err := net.Dial("tcp", "127.0.0.1:80")
		did = fmt.Sprint(err)
	case "print":
		fmt.Println("to stdout,\nin two lines")
		fmt.Fprint(os.Stderr, "to stderr")
		fmt.Print(strings.Repeat("long ", 10_000))
		did = "printed"
	case "exit":
		fmt.Fprintln(os.Stderr, "going")
		os.Exit(3)
	case "garbage":
		// Some values are kept, so that the collector has something to scan.
		for n := range script.Times * 1000 {
			text := strings.Repeat("x", int(n%2000))
			if n%1000 == 0 {
				kept = append(kept[max(0, len(kept)-100):], text)
			}
		}
		did = fmt.Sprint("garbage, ", time.Now().UnixNano())
	case "panic":
		var none *contracts.Script
		did = none.Do
	case "goroutines":
		results := make(chan int)
		for n := range 10 {
			go func() { results <- n * n }()
		}
		sum := 0
		for range 10 {
			sum += <-results
		}
		did = fmt.Sprint(sum)
	default:
		return heddle.Rejected("there is nothing to do for " + script.Do)
	}
	heddle.EmitOut.Send(contracts.Result{Did: did, N: 0})
	return nil
}
