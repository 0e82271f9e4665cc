// Nanoseconds of one read.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"gauge"
)

func main() {
	g, err := gauge.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	count, _ := strconv.Atoi(os.Args[2])
	sum := 0.0
	start := time.Now()
	for i := 0; i < count; i++ {
		sum += g.Level()
	}
	fmt.Println(float64(time.Since(start).Nanoseconds())/float64(count) + 0*sum)
}
