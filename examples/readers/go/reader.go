// Prints the temperature now for each line that it reads.
//
//	CGO_CFLAGS=-I. CGO_LDFLAGS="-L. -lweather -Wl,-rpath,." go build reader.go
package main

// #include "weather.h"
import "C"

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Printf("%g\n", float64(C.weather_temperature()))
	}
}
