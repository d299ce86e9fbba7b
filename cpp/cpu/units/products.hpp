// SPDX-License-Identifier: BSD-3-Clause
// Products of matrices that passes of sampled units spend their time in, by SciPy's BLAS and LAPACK; each of a fixed
// order of sums, for it is called by one thread at a time (the caller keeps BLAS to one).
#pragma once

#include "units.hpp"

namespace fisherfield::sampled_units {

struct Lapack {
    void (*eigen)(char* jobz, char* uplo, int* n, double* a, int* lda, double* w, double* work, int* lwork, int* iwork,
                  int* liwork, int* info) = nullptr;                                // dsyevd
    void (*cholesky)(char* uplo, int* n, double* a, int* lda, int* info) = nullptr; // dpotrf

    static Lapack& in_use() {
        static Lapack lapack;
        return lapack;
    }
};

// out (rows x K) = x M^T + beta out, in float32 with a float32 copy of M.
class Factor {
public:
    Factor(Room& room, const double* matrix, long positions);
    void multiply(const float* x, long rows, float* out, float beta = 0.0F) const;
    void multiply_transposed(const float* x, long rows, float* out) const; // x M

private:
    Array<float> entries_;
    long positions_;
};

// Means over units of A(x) B(y)^T for x != y, and of A(x) B(x)^T less that: with means over the R samples of a unit,
// sum_x (A - mean A)(B - mean B)^T/(R - 1), which is never a difference. Sums of at most kRows products are float32.
struct Pairs {
    Array<double> xy, v;
};
Pairs pairs(Room& room, const float* A, const float* B, long count, long reads, long positions);

// Eigenvalues, ascending, and eigenvectors as the rows of `matrix`, which is symmetric.
void eigen(std::vector<double>* values, double* matrix, long positions);
// The lower triangle L of a matrix L L^T, zeros above; false where it is none.
bool cholesky(double* matrix, long positions);

} // namespace fisherfield::sampled_units
