// The program of the image: it tells how many certificate authorities it finds.
package main

import (
	"crypto/x509"
	"fmt"
)

func main() {
	roots, err := x509.SystemCertPool()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(roots.Subjects()), "certificate authority") //nolint:staticcheck // the deprecation is about the system's store elsewhere
}
