// The program of the image: it tells whether it finds certificate authorities.
package main

import (
	"crypto/x509"
	"fmt"
)

func main() {
	roots, err := x509.SystemCertPool()
	if err != nil || roots.Equal(x509.NewCertPool()) {
		fmt.Println("no certificate authorities:", err)
		return
	}
	fmt.Println("certificate authorities are there")
}
