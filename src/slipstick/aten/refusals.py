"""What has no definition in the arithmetic, family by family, and what to do instead."""

from importlib import import_module
from importlib.util import find_spec

import torch

from slipstick.aten.registry import existing, refused

aten = torch.ops.aten
prims = torch.ops.prims

_FACTORISATIONS = """
    _linalg_svd _linalg_eigh _linalg_eigvals linalg_eig linalg_qr linalg_lu linalg_lu_factor_ex linalg_lu_solve
    linalg_cholesky_ex linalg_inv_ex _linalg_solve_ex linalg_ldl_factor_ex linalg_ldl_solve linalg_lstsq _linalg_det
    _linalg_slogdet linalg_solve_triangular linalg_householder_product linalg_matrix_exp linalg_pinv triangular_solve
    cholesky cholesky_solve cholesky_inverse geqrf ormqr orgqr lu_unpack
"""
refused(
    "factorisations and solvers of linear algebra have no fixed order of operations; compute them inside ss.exact()",
    *existing(aten, _FACTORISATIONS),
)

refused(
    "its numbers are complex; compute it inside ss.exact(), or use real matrix products",
    *existing(aten, "_fft_r2c _fft_c2r _fft_c2c complex polar view_as_complex view_as_real angle angle_"),
)

_SPECIAL = """
    lgamma lgamma_ digamma digamma_ polygamma polygamma_ mvlgamma igamma igammac erfinv erfinv_ i0 i0_
    special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1 special_i0e special_i1
    special_i1e special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0
    special_modified_bessel_k1 special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1
    special_spherical_bessel_j0 special_zeta special_erfcx special_ndtri special_chebyshev_polynomial_t
    special_chebyshev_polynomial_u special_chebyshev_polynomial_v special_chebyshev_polynomial_w
    special_hermite_polynomial_h special_hermite_polynomial_he special_laguerre_polynomial_l
    special_legendre_polynomial_p special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w
"""
_SPECIAL_PRIMS = """
    lgamma digamma erf_inv erfcx ndtri bessel_i0 bessel_i0e bessel_i1 bessel_i1e bessel_j0 bessel_j1
    spherical_bessel_j0 zeta
"""
refused(
    "special functions have no table yet (arithmetic/real_functions.py holds those there are); use ss.exact()",
    *existing(aten, _SPECIAL),
    *existing(prims, _SPECIAL_PRIMS),
)

refused(
    "the next number of PyTorch's float is not a number of the format; use ss.exact()",
    *existing(aten, "nextafter nextafter_ frexp"),
    *existing(prims, "nextafter frexp"),
)

refused(
    "histograms and segments are statistics, not training; compute them inside ss.exact()",
    *existing(
        aten,
        """histc histogram histogramdd _histogramdd_bin_edges _histogramdd_from_bin_tensors _histogramdd_from_bin_cts
        segment_reduce hash_tensor""",
    ),
)

refused(
    "sparse tensors carry no codes; use dense ones (sparse=False)",
    *existing(
        aten,
        """_to_sparse _to_sparse_csr _to_sparse_bsr _sparse_coo_tensor_with_dims_and_tensors is_coalesced _coalesce
        _coalesced_ _indices _values""",
    ),
)

refused(
    "has no composition yet; use the two-dimensional one, or ss.exact()",
    *existing(aten, "grid_sampler_3d grid_sampler_3d_backward"),
)

refused(
    "a fused layer; call it as torch.lstm does, which takes PyTorch's separate operators inside ss.use",
    *existing(aten, "mkldnn_rnn_layer mkldnn_rnn_layer_backward"),
)

_FUSED_OPTIMISERS = "_fused_adam_ _fused_adam _fused_adamw_ _fused_adamw _fused_sgd _fused_adagrad_"
refused(
    "a fused optimiser; step a torch.optim optimiser, whose single-tensor form runs", *existing(aten, _FUSED_OPTIMISERS)
)

refused(
    "the recursion over alignments has no stated order of operations yet; use F.cross_entropy on aligned targets, "
    "or compute it inside ss.exact()",
    *existing(aten, "_ctc_loss _ctc_loss_backward _cudnn_ctc_loss miopen_ctc_loss"),
)

_CHUNKED = "torch.nn.modules.linear_cross_entropy"
if find_spec(_CHUNKED) is not None:
    import_module(_CHUNKED)  # PyTorch registers these operators only when they are first called
    refused(
        "sums chunk by chunk, as PyTorch chooses the chunks; use options=None",
        *existing(
            torch.ops.torch_nn,
            "_linear_cross_entropy_batch_chunked _linear_cross_entropy_batch_chunked_no_reduction",
        ),
    )
