;;; SPDX-FileCopyrightText: The Graft authors
;;; SPDX-License-Identifier: Apache-2.0
;;;
;;; core.ss - Chez Scheme: every expression is compiled to machine code, and run

(define (ints n)
  (let loop ([i 0] [h 1] [x 12345])
    (if (fx= i n) h
        (let ([x (logand (+ (* x 1103515245) 12345) #x7fffffff)])
          (loop (fx+ i 1) (logand (* (logxor h (ash x (- (logand i 15))) (remainder x 1000) (quotient x 7)) 16777619) #xffffffff) x)))))
(define (floats n)
  (let loop ([i 0] [s 0.0]) (if (fx= i n) s (loop (fx+ i 1) (+ (/ s 2) (- (* (sqrt i) 0.5) (/ (floor s) 3)))))))
(define (fib n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))
(define (errors n)
  (let loop ([i 0] [s 0])
    (if (= i n) s
        (loop (+ i 1) (+ s (guard (e [(symbol? e) 2] [#t (string-length (condition-message e))])
                             (case (modulo i 5) [(0) (car i)] [(1) (vector-ref (vector 1 2) i)] [(2) (quotient i (- i i))] [(3) (raise 'mine)] [else i])))))))
(define (continuations n)
  (let loop ([i 0] [s 0])
    (if (= i n) s (loop (+ i 1) (+ s (call/cc (lambda (k) (for-each (lambda (x) (if (> x (modulo i 5)) (k x))) '(1 2 3 4 5 6)) 0)))))))
(define (garbage n)
  (let ([h (make-eqv-hashtable)])
    (do ([i 0 (+ i 1)]) ((= i n))
      (hashtable-set! h (modulo (* i 7919) 3001) (list i (number->string i) (make-vector 20 i)))
      (if (zero? (modulo i 20000)) (collect)))
    (let-values ([(k v) (hashtable-entries h)])
      (let loop ([i 0] [s 0]) (if (= i (vector-length k)) s (loop (+ i 1) (+ s (* (vector-ref k i) (vector-ref (caddr (vector-ref v i)) 3)))))))))
(define (compiled n)
  (let loop ([i 1] [s 0])
    (if (> i n) s (loop (+ i 1) (+ s ((eval `(lambda (a) (let l ([k 0] [s ,i]) (if (= k 200) s (l (+ k 1) (modulo (+ (* s 3) a k) 65521)))))) i))))))
(for-each (lambda (name value) (printf "~a ~a\n" name value)) '(ints floats fib errors continuations garbage compiled)
  (list (ints 1000000) (floats 500000) (fib 26) (errors 30000) (continuations 100000) (garbage 100000) (compiled 300)))
