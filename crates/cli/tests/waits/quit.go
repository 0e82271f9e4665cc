// Has a signal interrupt one of its threads in a converted call of the number that it is given. Go then ends
// it and prints the stacks of all goroutines.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func sleeper() {
	time.Sleep(1000 * time.Second)
}

func caller() {
	syscall.Select(0, nil, nil, nil, &syscall.Timeval{Sec: 1000})
}

// found returns a thread that waits in a call of this number, which it makes outside of the program's text.
func found(call string) int {
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			panic(err)
		}
		for _, task := range tasks {
			file, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/syscall")
			fields := strings.Fields(string(file))
			if len(fields) < 9 || fields[0] != call {
				continue
			}
			address, err := strconv.ParseUint(fields[8], 0, 64)
			if err == nil && address > 1<<40 {
				thread, _ := strconv.Atoi(task.Name())
				return thread
			}
		}
	}
}

func main() {
	go sleeper()
	go caller()
	if err := syscall.Tgkill(os.Getpid(), found(os.Args[1]), syscall.SIGQUIT); err != nil {
		fmt.Println(err)
	}
	select {}
}
