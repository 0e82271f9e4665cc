// Waits for an hour in every way, and says how each ended.
package main

import (
	"context"
	"fmt"
	"time"
)

func check(name string, wait func()) {
	start := time.Now()
	wait()
	passed := time.Since(start)
	shown := time.Now().Round(0).Sub(start.Round(0))
	if passed < time.Hour || passed > time.Hour+time.Minute || (shown-passed).Abs() > time.Second {
		fmt.Println(name, passed, shown)
		return
	}
	fmt.Println(name)
}

func main() {
	check("Sleep", func() { time.Sleep(time.Hour) })
	check("After", func() { <-time.After(time.Hour) })
	check("Ticker", func() {
		ticker := time.NewTicker(20 * time.Minute)
		for i := 0; i < 3; i++ {
			<-ticker.C
		}
	})
	check("WithTimeout", func() {
		context, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		<-context.Done()
	})
	check("WithDeadline", func() {
		context, cancel := context.WithDeadline(context.Background(), time.Now().Add(time.Hour))
		defer cancel()
		<-context.Done()
	})
}
