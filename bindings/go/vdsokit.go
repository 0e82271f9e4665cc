// Package vdsokit publishes a vDSO: values that every process on the machine reads at the cost of
// a load.
//
// It is built with cgo over the C library libvdsokit, which pkg-config finds.
package vdsokit

// #cgo pkg-config: vdsokit
// #include <stdlib.h>
// #include <vdsokit.h>
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Error is what the library refused.
type Error struct {
	// Errno is the reason as errno(3) has it: EBUSY, ENOENT, EACCES, EPERM, EINVAL, ERANGE…
	Errno syscall.Errno
	// Message says what was refused and what to do.
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is(err, syscall.EBUSY) work.
func (e *Error) Unwrap() error { return e.Errno }

// ErrClosed is returned by every method of a closed Publisher or Scalar.
var ErrClosed = errors.New("vdsokit: closed")

// call runs f on one thread, because errno and the message belong to it.
func call(f func() (bool, error)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ok, err := f()
	if ok {
		return nil
	}
	failure := &Error{Message: C.GoString(C.vdsokit_error())}
	errors.As(err, &failure.Errno)
	return failure
}

// Bounds returns the earliest and the latest moment that the true time of a clock may be, since the
// clock's zero. The clock is a number of clock_gettime(2): 0 is CLOCK_REALTIME, 1 CLOCK_MONOTONIC.
//
// Of two events, on two machines too, the first surely happened first if its latest moment is
// before the earliest of the other. The error is ENODATA for a wall clock that no NTP daemon keeps,
// and EINVAL for a clock that this machine does not have.
func Bounds(clock int) (earliest, latest time.Duration, err error) {
	var first, last C.uint64_t
	err = call(func() (bool, error) {
		result, err := C.vdsokit_bounds(C.int(clock), &first, &last)
		return result == 0, err
	})
	return time.Duration(first), time.Duration(last), err
}

// Publisher is the one publisher of a vDSO. Its methods may be called from several goroutines,
// Close excepted.
type Publisher struct {
	handle *C.vdsokit_publisher
}

// Scalar writes one scalar variable, each time with one store.
type Scalar struct {
	handle *C.vdsokit_variable
}

// Create builds the image of a declaration and publishes it at path. If path is empty, the file lies
// beside the declaration, or in the RuntimeDirectory= of a systemd service.
func Create(declaration, path string) (*Publisher, error) {
	cDeclaration := C.CString(declaration)
	defer C.free(unsafe.Pointer(cDeclaration))
	var cPath *C.char
	if path != "" {
		cPath = C.CString(path)
		defer C.free(unsafe.Pointer(cPath))
	}
	p := &Publisher{}
	err := call(func() (ok bool, err error) {
		p.handle, err = C.vdsokit_create(cDeclaration, cPath)
		return p.handle != nil, err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Open publishes the vDSO in the file path, with the values that are there.
func Open(path string) (*Publisher, error) {
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	p := &Publisher{}
	err := call(func() (ok bool, err error) {
		p.handle, err = C.vdsokit_open(cPath)
		return p.handle != nil, err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Publisher) call(f func() (C.int, error)) error {
	if p.handle == nil {
		return ErrClosed
	}
	return call(func() (bool, error) {
		result, err := f()
		return result == 0, err
	})
}

// Scalar returns a handle that writes a scalar with one store.
func (p *Publisher) Scalar(name string) (*Scalar, error) {
	if p.handle == nil {
		return nil, ErrClosed
	}
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	s := &Scalar{}
	err := call(func() (ok bool, err error) {
		s.handle, err = C.vdsokit_var(p.handle, cName)
		return s.handle != nil, err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Set writes a variable, or a field "wind.speed" of a record. The value is printed as fmt.Sprint
// prints it.
func (p *Publisher) Set(name string, value any) error {
	cName, cValue := C.CString(name), C.CString(fmt.Sprint(value))
	defer C.free(unsafe.Pointer(cName))
	defer C.free(unsafe.Pointer(cValue))
	return p.call(func() (C.int, error) {
		result, err := C.vdsokit_set(p.handle, cName, cValue)
		return result, err
	})
}

// Assign writes several variables, or none if one is refused; fields of one record are written
// together.
func (p *Publisher) Assign(values map[string]any) error {
	var line strings.Builder
	for name, value := range values {
		text, isText := value.(string)
		if isText {
			text = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
		} else {
			text = fmt.Sprint(value)
		}
		fmt.Fprintf(&line, "%s=%s ", name, text)
	}
	cLine := C.CString(line.String())
	defer C.free(unsafe.Pointer(cLine))
	return p.call(func() (C.int, error) {
		result, err := C.vdsokit_assign(p.handle, cLine)
		return result, err
	})
}

// Get returns the value now, as text.
func (p *Publisher) Get(name string) (string, error) {
	if p.handle == nil {
		return "", ErrClosed
	}
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	for size := C.size_t(256); ; {
		buffer := (*C.char)(C.malloc(size))
		var length C.ssize_t
		err := call(func() (ok bool, err error) {
			length, err = C.vdsokit_get(p.handle, cName, buffer, size)
			return length >= 0, err
		})
		text := ""
		if err == nil && C.size_t(length) < size {
			text = C.GoStringN(buffer, C.int(length))
		}
		C.free(unsafe.Pointer(buffer))
		if err != nil || C.size_t(length) < size {
			return text, err
		}
		size = C.size_t(length) + 1
	}
}

// Beat sends a heartbeat: all values are up to date now.
func (p *Publisher) Beat() error {
	return p.call(func() (C.int, error) {
		result, err := C.vdsokit_beat(p.handle)
		return result, err
	})
}

// StaleAfter promises a heartbeat at least this often; 0 promises nothing.
func (p *Publisher) StaleAfter(limit time.Duration) error {
	nanoseconds := C.uint64_t(limit.Nanoseconds())
	return p.call(func() (C.int, error) {
		result, err := C.vdsokit_stale_after(p.handle, nanoseconds)
		return result, err
	})
}

// Retire tells readers that no value will change again; writes are refused from then on.
func (p *Publisher) Retire() error {
	return p.call(func() (C.int, error) {
		result, err := C.vdsokit_retire(p.handle)
		return result, err
	})
}

// Close retires the vDSO and frees the publisher. A second call does nothing.
func (p *Publisher) Close() error {
	if p.handle != nil {
		C.vdsokit_close(p.handle)
		p.handle = nil
	}
	return nil
}

func (s *Scalar) call(f func() (C.int, error)) error {
	if s.handle == nil {
		return ErrClosed
	}
	return call(func() (bool, error) {
		result, err := f()
		return result == 0, err
	})
}

// SetFloat64 writes an f64 or f32 variable.
func (s *Scalar) SetFloat64(value float64) error {
	return s.call(func() (C.int, error) {
		result, err := C.vdsokit_var_set_f64(s.handle, C.double(value))
		return result, err
	})
}

// SetInt64 writes an integer variable, if its type holds the value.
func (s *Scalar) SetInt64(value int64) error {
	return s.call(func() (C.int, error) {
		result, err := C.vdsokit_var_set_i64(s.handle, C.int64_t(value))
		return result, err
	})
}

// SetUint64 writes an integer variable, if its type holds the value.
func (s *Scalar) SetUint64(value uint64) error {
	return s.call(func() (C.int, error) {
		result, err := C.vdsokit_var_set_u64(s.handle, C.uint64_t(value))
		return result, err
	})
}

// SetBool writes a bool variable.
func (s *Scalar) SetBool(value bool) error {
	return s.call(func() (C.int, error) {
		result, err := C.vdsokit_var_set_bool(s.handle, C.bool(value))
		return result, err
	})
}

// Close gives the handle back. A second call does nothing.
func (s *Scalar) Close() error {
	if s.handle != nil {
		C.vdsokit_var_free(s.handle)
		s.handle = nil
	}
	return nil
}
