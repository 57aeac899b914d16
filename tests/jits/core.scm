;; SPDX-FileCopyrightText: The Graft authors
;; SPDX-License-Identifier: Apache-2.0
;;
;; core.scm - Guile's JIT: calls, continuations, bignums, exceptions, garbage, threads

(use-modules (ice-9 threads) (srfi srfi-1) (ice-9 format))

(define (ints n)
  (let loop ((i 0) (h 1) (x 12345))
    (if (= i n) h
        (let ((x (logand (+ (* x 1103515245) 12345) #x7fffffff)))
          (loop (1+ i) (logand (* (logxor h (ash x (- (logand i 15))) (remainder x 1000) (quotient x 7)) 16777619) #xffffffff) x)))))

(define (floats n)
  (let loop ((i 0) (s 0.0))
    (if (= i n) s (loop (1+ i) (+ (/ s 2) (- (* (sqrt i) 0.5) (/ (floor s) 3)))))))

(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
(define (fact n) (if (zero? n) 1 (* n (fact (1- n)))))

(define (errors n)
  (let loop ((i 0) (s 0))
    (if (= i n) s
        (loop (1+ i)
              (+ s (catch #t
                     (lambda () (case (modulo i 5) ((0) (car i)) ((1) (vector-ref #(1 2) i)) ((2) (quotient i (- i i))) ((3) (throw 'mine i)) (else i)))
                     (lambda (key . args) (string-length (symbol->string key)))))))))

(define (continuations n)
  (let loop ((i 0) (s 0))
    (if (= i n) s
        (loop (1+ i) (+ s (call/cc (lambda (k) (for-each (lambda (x) (if (> x (modulo i 5)) (k x))) '(1 2 3 4 5 6)) 0))
                        (call-with-prompt 'p (lambda () (+ 1 (abort-to-prompt 'p i))) (lambda (k x) (k (modulo x 7)))))))))

(define (garbage n)
  (let ((h (make-hash-table)))
    (do ((i 0 (1+ i))) ((= i n)) (hash-set! h (modulo (* i 7919) 3001) (list i (number->string i) (make-vector 20 i))))
    (hash-fold (lambda (k v s) (+ s (* k (vector-ref (third v) 3)))) 0 h)))

(define (threads)
  (let* ((m (make-mutex)) (total 0)
         (t (map (lambda (k) (call-with-new-thread (lambda ()
                   (do ((i 0 (1+ i)) (s 0 (logand (+ (* s 31) (logxor i k)) #xffffff))) ((= i 20000) s)
                     (if (zero? (modulo i 20)) (with-mutex m (set! total (1+ total)))))))) '(1 2 3 4)))
         (sums (map join-thread t)))
    (list total sums)))

(define (tests)
  (format #t "ints ~a\n" (ints 1000000))
  (format #t "floats ~a\n" (floats 500000))
  (format #t "fib ~a\n" (fib 24))
  (format #t "fact ~a\n" (modulo (apply + (map fact (iota 300))) 1000003))
  (format #t "errors ~a\n" (errors 30000))
  (format #t "continuations ~a\n" (continuations 50000))
  (format #t "garbage ~a\n" (garbage 100000))
  (format #t "threads ~a\n" (threads)))
(tests)
