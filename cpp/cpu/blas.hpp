// SPDX-License-Identifier: BSD-3-Clause
// The two products of matrices that sampled networks spend their time in, by a BLAS that whoever starts the program
// hands over (the bindings: SciPy's). Matrices are row-major; a row-major matrix is its transpose to BLAS.
#pragma once

#include <stdexcept>

namespace fisherfield {

// Fortran's calling sequence with 32-bit integers
template <class T>
struct Blas {
    void (*gemm)(char* transa, char* transb, int* m, int* n, int* k, T* alpha, T* a, int* lda, T* b, int* ldb, T* beta,
                 T* c, int* ldc) = nullptr;
    void (*syrk)(char* uplo, char* trans, int* n, int* k, T* alpha, T* a, int* lda, T* beta, T* c, int* ldc) = nullptr;

    static Blas& in_use() {
        static Blas blas;
        return blas;
    }
};

namespace blas {

inline int size(long n) {
    if (n > 2147483647L) {
        throw std::length_error("a matrix has more than 2^31 - 1 rows or columns");
    }
    return static_cast<int>(n);
}

// C (m x n) = op(A) op(B) + beta C, op(A) of k columns; a, b, c stand ld numbers apart from row to row.
template <class T>
void multiply(bool a_transposed, bool b_transposed, long m, long n, long k, const T* a, long lda, const T* b, long ldb,
              T beta, T* c, long ldc) {
    if (m == 0 || n == 0) {
        return;
    }
    char left = b_transposed ? 'T' : 'N', right = a_transposed ? 'T' : 'N';
    int columns = size(n), rows = size(m), inner = size(k), left_step = size(ldb), right_step = size(lda),
        step = size(ldc);
    T one = 1;
    Blas<T>::in_use().gemm(&left, &right, &columns, &rows, &inner, &one, const_cast<T*>(b), &left_step,
                           const_cast<T*>(a), &right_step, &beta, c, &step);
}

// The lower triangle of C (n x n) = A A^T + beta C, A of k columns: half of the work.
template <class T>
void multiply_by_transpose(long n, long k, const T* a, T beta, T* c) {
    char upper = 'U', transposed = 'T'; // of the transposes
    int size_of_c = size(n), inner = size(k);
    T one = 1;
    Blas<T>::in_use().syrk(&upper, &transposed, &size_of_c, &inner, &one, const_cast<T*>(a), &inner, &beta, c,
                           &size_of_c);
}

} // namespace blas

} // namespace fisherfield
