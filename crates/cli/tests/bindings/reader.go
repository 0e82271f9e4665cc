// For each line of input, the weather; "reload" opens the file again first.
package main

import (
	"bufio"
	"fmt"
	"os"

	"weather"
)

func main() {
	w, err := weather.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "reload" {
			if err := w.Reload(); err != nil {
				panic(err)
			}
		}
		open := 0
		if w.Open() {
			open = 1
		}
		wind := w.Wind()
		fmt.Println(uint32(w.Condition()), w.Temperature(), open, w.Station(), w.Gusts()[2], wind.Speed, wind.From, w.Visitors())
	}
}
