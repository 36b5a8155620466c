/**
 * Creates a small variant of the flight model from its own file with some lines replaced, so that tests use the gate of the shipped model.
 * Fails when a line to replace is no longer in the file.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadModel, modelsDirectory } from '../../../models/index.ts'
import { upsertModels } from '../../../store/registry/models.ts'
import type { Store } from '../../../store/postgres.ts'

/** Text of the file → its replacement. */
export type Edits = readonly (readonly [from: string, to: string])[]

const split =
  "split: byTime({ train: '21 d', test: '3 d', matured: '12 h', maxRows: { train: 80_000, test: 25_000 } })"

/** A third of the flights, because their windows and joins take most of the time of a snapshot. */
export const sampled = 'from source where hash(date, origin, distance, delay) % 3 = 0'

/** Edits that train on a week and test on two days, sampled. */
export const small: Edits = [
  [
    split,
    "split: byTime({ train: '7 d', test: '2 d', matured: '12 h', maxRows: { train: 20_000, test: 5_000 } })",
  ],
  ['rowCount({ min: 20_000 })', 'rowCount({ min: 1_000 })'],
  ["lookback: '2 d'", "lookback: '1 d'"],
  ['from source`', `${sampled}\``],
  // Importance decides nothing and takes 0.7 s of CPU time.
  ['floors: { auc: 0.58 },', "floors: { auc: 0.58 }, importance: 'off',"],
]

export async function syncFlights(
  store: Store,
  directory: string,
  { name, edits = [] }: { name: string; edits?: Edits },
): Promise<void> {
  let text = await readFile(join(modelsDirectory, 'flight-delay.ts'), 'utf8')
  const all: Edits = [
    ["from './define.ts'", `from '${modelsDirectory}define.ts'`],
    ["from './data/airports.ts'", `from '${modelsDirectory}data/airports.ts'`],
    ["name: 'flight-delay'", `name: '${name}'`],
    ...small,
    ...edits,
  ]
  for (const [from, to] of all) {
    if (!text.includes(from)) throw new Error(`models/flight-delay.ts has no longer ${JSON.stringify(from)}`)
    text = text.replace(from, () => to)
  }
  await writeFile(join(directory, `${name}.ts`), text)
  await upsertModels(store, [await loadModel(name, directory)])
}
