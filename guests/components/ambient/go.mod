module ambient

go 1.24
