/** Picks values of typed arrays by position. */

/** Fills `into` with the values at the positions, in any order and number. */
export function pickInto<Picked extends Float64Array | Uint8Array | Uint16Array | Uint32Array>(
  into: Picked,
  values: ArrayLike<number>,
  places: ArrayLike<number>,
): Picked {
  for (let i = 0; i < into.length; i++) into[i] = values[places[i]!]!
  return into
}
