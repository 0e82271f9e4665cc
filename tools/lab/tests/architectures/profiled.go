package main

import (
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"time"
)

// Reads the clock from several goroutines while SIGPROF arrives, which reads the register of the
// goroutine. Fails if the time is not the one that the arguments say.
func main() {
	file, err := os.Create("profile")
	if err != nil {
		panic(err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		panic(err)
	}
	var group sync.WaitGroup
	for range [4]int{} {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < 300000; i++ {
				if year := time.Now().Year(); year != 2000 {
					panic(year)
				}
			}
		}()
	}
	group.Wait()
	pprof.StopCPUProfile()
	begun := time.Now()
	time.Sleep(time.Hour)
	fmt.Println("ok", time.Since(begun) >= time.Hour)
}
