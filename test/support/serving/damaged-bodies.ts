/** Damages texts for tests of readers: bytes that are changed, removed, doubled or inserted. */
import fc from 'fast-check'

type Change = [place: number, kind: string, byte: number]

export const damage = fc.array(
  fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    fc.constantFrom('change', 'remove', 'insert', 'double'),
    fc.oneof(fc.constantFrom(...Buffer.from('0123456789eE+-.,:{}[]" \n\\nultrefa')), fc.nat({ max: 255 })),
  ),
  { maxLength: 3 },
)

export function damaged(text: string, changes: readonly Change[]): Buffer {
  let bytes = Buffer.from(text)
  for (const [place, kind, byte] of changes) {
    const at = Math.floor(place * bytes.byteLength)
    const piece = kind === 'insert' || kind === 'change' ? [byte] : kind === 'double' ? [bytes[at]!] : []
    const rest = bytes.subarray(kind === 'change' || kind === 'remove' ? at + 1 : at)
    bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(piece), rest])
  }
  return bytes
}
