/**
 * Bins the slots of a row in WebAssembly, by binary searches of their bounds. The kernels begin with this code, and keep its tables at the
 * end of their memory.
 */
import * as wasm from '../../../network/wasm-encoder.ts'
import { searches, type RowBins } from './row-bins.ts'

/**
 * For slots that are searched together: half the number of their bounds, then for each slot the positions of its bounds, its byte and its
 * value.
 */
const groupWords = 1 + 3 * searches

/** Plans the tables of the searches, which begin at `at`. */
export function planSearch(bins: RowBins, at: number) {
  const { groups, searched } = bins
  const valuesAt = (at + 7) & ~7
  const boundsAt = valuesAt + searched.length * 8
  const groupsAt = boundsAt + searched.reduce((sum, { size }) => sum + size, 0) * 8
  return {
    groupsAt,
    /** The end of the groups, and of all tables. */
    end: groupsAt + groups.length * groupWords * 4,
    /** Writes the tables. Returns a function that prepares a row for the searches; the bytes of the row begin at `bytesAt`. */
    prepare(memory: WebAssembly.Memory, bytesAt: number): (row: Float64Array, at: number) => void {
      const cells = new Int32Array(memory.buffer)
      const doubles = new Float64Array(memory.buffer)
      let bound = boundsAt / 8
      for (const [index, slots] of groups.entries()) {
        const cell = groupsAt / 4 + index * groupWords
        cells[cell] = ((slots[0]!.size + 1) >>> 1) * 8
        for (let place = 0; place < searches; place++) {
          // The last group is filled up with its first slot.
          const { bounds, size, first, at: value } = slots[place] ?? slots[0]!
          // The position before the first bound.
          const boundAt = place < slots.length ? bound * 8 - 8 : cells[cell + 1]!
          cells.set([boundAt, bytesAt + first, valuesAt + value * 8], cell + 1 + 3 * place)
          if (place >= slots.length) continue
          doubles.fill(Infinity, bound, bound + size)
          doubles.set(bounds, bound)
          bound += size
        }
      }
      return bins.writer(
        new Uint8Array(memory.buffer, bytesAt, bins.end),
        doubles.subarray(valuesAt / 8, boundsAt / 8),
      )
    },
  }
}

/** The number of local integers that the searches need. */
export const searchLocals = 1 + 2 * searches

/** Writes the searches of the groups from the first parameter to the second one. Uses the local integers from `local` on. */
export function searchCode(local: number): wasm.Code {
  const { get, set, constant, add, subtract, each } = wasm
  const [group, groupsEnd, half] = [0, 1, local] as const
  const bound = (search: number): number => local + 1 + search
  const value = (search: number): number => local + 1 + searches + search
  const cell = (search: number, word: number): wasm.Code =>
    wasm.loadWord(get(group), 4 * (1 + 3 * search + word))
  const halve = (search: number): wasm.Code =>
    set(
      bound(search),
      add(
        get(bound(search)),
        wasm.and(
          get(half),
          subtract(constant(0), wasm.isDoubleBeyond(get(value(search)), add(get(bound(search)), get(half)))),
        ),
      ),
    )
  return wasm.loopWhile(wasm.isMore(get(groupsEnd), get(group)), [
    ...set(half, wasm.loadWord(get(group))),
    ...each(searches, (search) => [
      ...set(bound(search), cell(search, 0)),
      ...set(value(search), cell(search, 2)),
    ]),
    ...wasm.loopWhile(wasm.isMore(get(half), constant(7)), [
      ...each(searches, halve),
      ...set(half, wasm.shiftRight(get(half), constant(1))),
    ]),
    ...each(searches, (search) =>
      wasm.storeByte(
        cell(search, 1),
        wasm.shiftRight(subtract(get(bound(search)), cell(search, 0)), constant(3)),
      ),
    ),
    ...set(group, add(get(group), constant(groupWords * 4))),
  ])
}
