module heddle

go 1.24
