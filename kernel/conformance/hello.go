// Goroutines that sleep, on several threads: a static program of another runtime than C's.
package main

import (
	"fmt"
	"sync"
	"time"
)

func main() {
	var running sync.WaitGroup
	numbers := make(chan int)
	start := time.Now()
	for i := 0; i < 10; i++ {
		running.Add(1)
		go func(i int) {
			defer running.Done()
			time.Sleep(10 * time.Millisecond)
			numbers <- i
		}(i)
	}
	go func() {
		running.Wait()
		close(numbers)
	}()
	sum := 0
	for number := range numbers {
		sum += number
	}
	fmt.Println("sum", sum, "slept", time.Since(start) >= 10*time.Millisecond)
}
