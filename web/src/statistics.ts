// Medians and quantiles, as NumPy gives them.

/** The value of a rank, 0 the smallest. The array is reordered. */
export function selectRank(values: Float64Array, rank: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1]!;
    let i = low;
    let j = high;
    while (i <= j) {
      while (values[i]! < pivot) i++;
      while (values[j]! > pivot) j--;
      if (i <= j) {
        const kept = values[i]!;
        values[i++] = values[j]!;
        values[j--] = kept;
      }
    }
    if (rank <= j) high = j;
    else if (rank >= i) low = i;
    else break;
  }
  return values[rank]!;
}

/** A quantile, linear between neighbours. NaN where there are no values. */
export function quantile(values: ArrayLike<number>, share: number): number {
  const copy = Float64Array.from(values);
  if (copy.length === 0) return Number.NaN;
  const position = share * (copy.length - 1);
  const rank = Math.floor(position);
  const low = selectRank(copy, rank);
  if (position === rank) return low;
  return low + (position - rank) * (selectRank(copy, rank + 1) - low);
}

export function median(values: ArrayLike<number>): number {
  return quantile(values, 0.5);
}

/** A repeatable sequence of whole numbers below 2^32: Marsaglia's xorshift, 2003. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}
