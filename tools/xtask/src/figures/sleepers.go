// A hundred tests, each of which waits for what takes 36 seconds: an hour of sleeping.
package main

import "time"

func main() {
	for i := 0; i < 100; i++ {
		start := time.Now()
		time.Sleep(36 * time.Second)
		if time.Since(start) < 36*time.Second {
			panic(i)
		}
	}
}
