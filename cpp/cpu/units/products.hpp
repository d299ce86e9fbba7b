// SPDX-License-Identifier: BSD-3-Clause
// Products of matrices that passes of sampled units spend their time in, by SciPy's BLAS and LAPACK; each of a fixed
// order of sums, for it is called by one thread at a time (the caller keeps BLAS to one).
#pragma once

#include <algorithm>

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

// A float32 copy of a matrix M (count x K).
class Factor {
public:
    Factor(Room& room, const double* matrix, long count, long positions);
    void multiply(const float* x, long rows, float* out) const;            // x M^T, (rows x count)
    void multiply_transposed(const float* x, long rows, float* out) const; // x M, (rows x K)

private:
    Array<float> entries_;
    long count_, positions_;
};

// So many that their rows stay at hand, and a sum over them may be float32.
long units_at_a_time(long reads, long positions);

// What sums over units' rests and means are to means over pairs of samples: of A(x) B(x)^T less that of A(x) B(y)^T for
// x != y, v, which is sum_x (A - mean A)(B - mean B)^T/(R - 1) and never a difference; and of A(x) B(y)^T, xy.
struct Shares {
    double of_v, of_xy, less;

    Shares(long count, long reads)
        : of_v(1.0 / (static_cast<double>(count) * static_cast<double>(std::max(reads - 1, 1L)))),
          of_xy(1.0 / static_cast<double>(count)), less(1.0 / static_cast<double>(reads)) {}
};

// X^T X of rows of k numbers, above and on the diagonal.
void square(const float* x, long rows, long k, float* out);

// Of some units their means over samples, and what each sample has beyond that.
class Centred {
public:
    Centred(Room& room, long units, long reads, long positions);
    void take(const float* x, long first, long count);
    // Sums of (A - mean A)(B - mean B)^T, and of mean A mean B^T, K x K; of itself above and on the diagonal alone.
    void multiply(const Centred& other, float* of_rest, float* of_means) const;

private:
    Array<float> means_, rest_;
    long reads_, positions_, count_ = 0;
};

// Eigenvalues, ascending, and eigenvectors as the rows of `matrix`, which is symmetric.
void eigen(std::vector<double>* values, double* matrix, long positions);
// Rows of k numbers, each less what it has of those before it, of length 1; 0 where nothing is left.
void orthonormalise(double* rows, long count, long k);
// The lower triangle L of a matrix L L^T, zeros above; false where it is none.
bool cholesky(double* matrix, long positions);

} // namespace fisherfield::sampled_units
