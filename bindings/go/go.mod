module github.com/vdsokit/vdsokit/bindings/go

go 1.19
