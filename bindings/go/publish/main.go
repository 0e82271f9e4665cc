// Command publish publishes the weather of a declaration until it reads a line:
// publish DECLARATION FILE. It checks what must be refused on the way.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	vdsokit "github.com/vdsokit/vdsokit/bindings/go"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// refused returns an error unless err has the reason wanted.
func refused(wanted syscall.Errno, err error) error {
	if errors.Is(err, wanted) {
		return nil
	}
	return fmt.Errorf("got %v, want %v", err, wanted)
}

func run(declaration, path string) error {
	_, err := vdsokit.Open("/nonexistent/libweather.so.1")
	if err := refused(syscall.ENOENT, err); err != nil {
		return err
	}
	earliest, latest, err := vdsokit.Bounds(1)
	if err != nil || earliest <= 0 || latest < earliest {
		return fmt.Errorf("bounds: %v, %v, %v", earliest, latest, err)
	}
	_, _, err = vdsokit.Bounds(77)
	if err := refused(syscall.EINVAL, err); err != nil {
		return err
	}
	weather, err := vdsokit.Create(declaration, path)
	if err != nil {
		return err
	}
	defer weather.Close()
	_, err = vdsokit.Create(declaration, path)
	if err := refused(syscall.EBUSY, err); err != nil {
		return err
	}
	scalars := make(map[string]*vdsokit.Scalar)
	for _, name := range []string{"temperature", "visitors", "small", "open"} {
		if scalars[name], err = weather.Scalar(name); err != nil {
			return err
		}
		defer scalars[name].Close()
	}
	for _, err := range []error{
		scalars["temperature"].SetFloat64(21.5),
		scalars["visitors"].SetUint64(math.MaxUint64),
		scalars["small"].SetInt64(-128),
		refused(syscall.ERANGE, scalars["small"].SetInt64(128)),
		refused(syscall.EINVAL, scalars["small"].SetFloat64(1)),
		scalars["open"].SetBool(true),
		weather.Set("region", `north "and" west`),
		weather.Assign(map[string]any{"wind.speed": 3, "wind.from": "north west"}),
		refused(syscall.EINVAL, weather.Assign(map[string]any{"temperature": 30, "wind.speed": "fast"})),
		weather.StaleAfter(time.Minute),
		weather.Beat(),
	} {
		if err != nil {
			return err
		}
	}
	region, err := weather.Get("region")
	if err != nil || region != `north "and" west` {
		return fmt.Errorf("region is %q, %v", region, err)
	}
	fmt.Println("published")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}
