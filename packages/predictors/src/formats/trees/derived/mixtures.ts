/**
 * Computes derived columns of mixtures of two rows, for explanations: a column that is derived from several features has a value for each
 * choice of the row that gives each feature.
 */
import type { DerivingStep } from './derived-columns.ts'
import type { Forest } from '../forest.ts'

/** The maximum number of columns from which an explained column is derived. It has a value for each set of them. */
export const maxShared = 10

export interface Mixture {
  /** Begins another pair of rows, with all their columns. */
  begin(row: Float64Array, other: Float64Array): void
  /**
   * Tests the values that are possible for the sides of the players (1: the row; 2: the other row; 0: undecided). `open`: an undecided
   * player on whom the result depends.
   */
  test(sides: Uint8Array, holds: (value: number) => boolean): { result: boolean; open: number | undefined }
}

/** Returns the mixtures of the derived columns that have several players. `players`: that of each column of the file, and of no other. */
export function mixturesOf({ columns, derived }: Forest, players: Int32Array): Map<number, Mixture> {
  const mixtures = new Map<number, Mixture>()
  for (const step of derived?.steps ?? []) {
    const own = [...new Set(step.sources.map((column) => players[column]!))]
    for (const column of step.columns)
      mixtures.set(column, mixtureOf(column, { step, own, players, width: columns.length + derived!.count }))
  }
  return mixtures
}

function mixtureOf(
  column: number,
  {
    step,
    own,
    players,
    width,
  }: { step: DerivingStep; own: readonly number[]; players: Int32Array; width: number },
): Mixture {
  /** By set of the players whose values come from the row. */
  const values = new Float64Array(2 ** own.length)
  const isKnown = new Uint8Array(values.length)
  const mixed = new Float64Array(width)
  let rows: readonly [other: Float64Array, row: Float64Array] = [mixed, mixed]
  const valueOf = (set: number): number => {
    if (isKnown[set] === 0) {
      for (const source of step.sources)
        mixed[source] = rows[(set >> own.indexOf(players[source]!)) & 1]![source]!
      step.derive(mixed)
      values[set] = mixed[column]!
      isKnown[set] = 1
    }
    return values[set]!
  }
  return {
    begin(row, other) {
      rows = [other, row]
      isKnown.fill(0)
    },
    test(sides, holds) {
      let [decided, undecided] = [0, 0]
      for (const [place, player] of own.entries()) {
        if (sides[player] === 1) decided |= 1 << place
        if (sides[player] === 0) undecided |= 1 << place
      }
      const result = holds(valueOf(decided))
      for (let some = undecided; some > 0; some = (some - 1) & undecided)
        if (holds(valueOf(decided | some)) !== result)
          return { result, open: own[31 - Math.clz32(undecided)] }
      return { result, open: undefined }
    },
  }
}
