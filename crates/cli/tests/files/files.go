// Reads and sets the times of a file as Go's library does, by its own system calls.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	path := os.Args[1]
	start := time.Now()
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	info, _ := file.Stat()
	fmt.Println("new", info.ModTime().Sub(start).Abs() < 2*time.Second)
	then := time.Date(1999, 2, 3, 4, 5, 6, 123456789, time.UTC)
	fmt.Println("set", os.Chtimes(path, then, then))
	info, _ = os.Stat(path)
	fmt.Println("read", info.ModTime().Equal(then))
}
