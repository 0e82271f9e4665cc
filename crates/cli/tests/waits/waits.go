// Waits for some seconds in each of Go's ways, and prints how long each lasted by both clocks.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"
)

func check(name string, wait func()) {
	start := time.Now()
	wait()
	end := time.Now()
	// Without the reading of the monotonic clock, the times are those of the wall clock.
	shown := end.Round(0).Sub(start.Round(0))
	fmt.Println(name, end.Sub(start).Seconds(), shown.Seconds())
}

func main() {
	seconds, err := strconv.ParseFloat(os.Args[1], 64)
	if err != nil {
		panic(err)
	}
	span := time.Duration(seconds * float64(time.Second))
	check("Sleep", func() { time.Sleep(span) })
	check("After", func() { <-time.After(span) })
	check("Ticker", func() {
		ticker := time.NewTicker(span / 4)
		for i := 0; i < 4; i++ {
			<-ticker.C
		}
	})
	check("WithTimeout", func() {
		context, cancel := context.WithTimeout(context.Background(), span)
		defer cancel()
		<-context.Done()
	})
	check("WithDeadline", func() {
		context, cancel := context.WithDeadline(context.Background(), time.Now().Add(span))
		defer cancel()
		<-context.Done()
	})
	check("SetReadDeadline", func() {
		silent, _, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		silent.SetReadDeadline(time.Now().Add(span))
		silent.Read(make([]byte, 1))
	})
}
