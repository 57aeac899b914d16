;;; SPDX-FileCopyrightText: The Graft authors
;;; SPDX-License-Identifier: Apache-2.0
;;;
;;; core.lisp - SBCL: functions compiled at run time, conditions out of compiled code, its moving collector

(declaim (optimize speed))

(defun ints (n)
  (declare (fixnum n))
  (let ((h 1) (x 12345))
    (declare (type (unsigned-byte 32) h x))
    (dotimes (i n h)
      (setf x (logand (+ (* x 1103515245) 12345) #x7fffffff)
            h (logand (* (logxor h (ash x (- (logand i 15))) (rem x 1000) (floor x 7)) 16777619) #xffffffff)))))

(defun floats (n)
  (let ((a (make-array 1024 :element-type 'double-float :initial-element 0d0)) (s 0d0))
    (dotimes (i n (list s (aref a 17)))
      (let ((k (logand i 1023)))
        (setf (aref a k) (+ (/ (sqrt (float i 1d0)) 2) (/ (aref a (logand (* k 7) 1023)) 3) (- (mod (aref a k) 7d0)))
              s (+ (/ s 2) (aref a k)))))))

(defun bignums () (loop with a = 1 and b = 1 repeat 5000 do (psetf a b b (+ a b)) finally (return (mod (* a b) 1000000007))))

;; Of a constant the compiler would say what is wrong.
(defvar *text* "x")
(defun errors (n)
  (declare (optimize (safety 3)))
  (loop for i below n
        sum (handler-case (ecase (mod i 5) (0 (car *text*)) (1 (aref #(1 2) i)) (2 (truncate i (- i i))) (3 (+ i *text*)) (4 i))
              (type-error () 3) (division-by-zero () 5) (error () 7))))

(defgeneric area (x))
(defstruct square s)
(defstruct circle s)
(defmethod area ((x square)) (* (square-s x) (square-s x)))
(defmethod area ((x circle)) (floor (* 355 (circle-s x)) 113))
(defun generics (n)
  (loop with h = 7 for i below n
        when (= i (floor n 2)) do (handler-bind ((warning #'muffle-warning)) (eval '(defmethod area ((x fixnum)) (- x))))
        do (setf h (logand (+ (* h 31) (area (cond ((and (> i (floor n 2)) (zerop (mod i 3))) i) ((oddp i) (make-square :s i)) (t (make-circle :s i))))) #xffffffff))
        finally (return h)))

;; Old objects point to young ones: the collector's write barrier.
(defun garbage (n)
  (let ((kept (make-array 3001 :initial-element nil)) (h (make-hash-table :test 'equal)))
    (dotimes (i n)
      (setf (aref kept (mod (* i 7919) 3001)) (list i (make-array 20 :initial-element i) (princ-to-string i)))
      (setf (gethash (format nil "k~d" (mod i 1000)) h) (aref kept (mod i 3001)))
      (when (zerop (mod i 20000)) (sb-ext:gc :full (zerop (mod i 40000)))))
    (list (loop for x across kept sum (* (first x) (length (third x)))) (hash-table-count h))))

(defun threads ()
  (let* ((m (sb-thread:make-mutex)) (total 0) (cell (list 0))
         (stop nil) (spins 0)
         (spinner (sb-thread:make-thread (lambda () (loop until stop do (setf spins (logand (1+ spins) #xffff)) (sb-thread:thread-yield)))))
         (sums (mapcar #'sb-thread:join-thread
                       (loop for k below 4
                             collect (let ((k k)) (sb-thread:make-thread (lambda ()
                                       (let ((s 0))
                                         (dotimes (i 20000 s)
                                           (setf s (logand (+ (* s 31) (logxor i k)) #xffffff))
                                           (sb-ext:atomic-incf (car cell))
                                           (when (zerop (mod i 20)) (sb-thread:with-mutex (m) (incf total)))
                                           (when (zerop (mod i 10000)) (sb-ext:gc)))))))))))
    (setf stop t)
    (sb-thread:join-thread spinner)
    (list total (car cell) sums)))

(defun compiled (n)
  (loop for i from 1 to n
        sum (funcall (compile nil `(lambda (a) (let ((s ,i)) (dotimes (k 200 s) (setf s (mod (+ (* s 3) a k) 65521)))))) i)))

(format t "ints ~a~%floats ~a~%bignums ~a~%errors ~a~%" (ints 3000000) (floats 500000) (bignums) (errors 30000))
(format t "generics ~a~%garbage ~a~%threads ~a~%compiled ~a~%" (generics 100000) (garbage 60000) (threads) (compiled 60))
