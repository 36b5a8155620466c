/** Prepares the data of the training measurements: the flights of the example model, and any number of similar rows. */
import { textLiteral } from '../../../domain/sql-text.ts'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { writeSnapshot } from '../../../activities/retrain/write-snapshot.ts'
import { loadModel, modelsDirectory, type LoadedModel } from '../../../models/index.ts'
import { openArtifacts } from '../../../store/artifacts.ts'
import { checkout } from '../../../temporal.config.ts'

export interface RowsFile {
  digest: string
  path: string
  bytes: number
}

/** Takes the flights as the example model reads them: 80,000 training rows. */
export async function takeFlights(artifactRoot: string, model: LoadedModel): Promise<RowsFile> {
  const artifacts = openArtifacts(artifactRoot)
  const { digest, bytes } = await writeSnapshot({
    definition: model.definition,
    asOf: '2001-04-01T00:00:00.000Z',
    // Files need no database.
    store: {} as never,
    artifacts,
  })
  return { digest, bytes, path: await artifacts.locate('snapshots', digest) }
}

/** Loads the example model with another number of epochs, in a separate directory. */
export async function modelOfEpochs(directory: string, epochs: number): Promise<LoadedModel> {
  const name = `flights-${epochs}`
  let text = await readFile(join(modelsDirectory, 'flight-delay.ts'), 'utf8')
  for (const [from, to] of [
    ["from './define.ts'", `from '${modelsDirectory}define.ts'`],
    ["from './data/airports.ts'", `from '${modelsDirectory}data/airports.ts'`],
    ["name: 'flight-delay'", `name: '${name}'`],
    ['epochs: 3', `epochs: ${epochs}`],
  ] as const) {
    if (!text.includes(from)) throw new Error(`models/flight-delay.ts has no longer ${from}`)
    text = text.replace(from, () => to)
  }
  await writeFile(join(directory, `${name}.ts`), text)
  return loadModel(name, directory)
}

export const flightsFile = join(checkout, 'node_modules/vega-datasets/data/flights-3m.parquet')

/** Makes a snapshot of rows like the flights: the file repeated, each time with another share of late flights. */
export async function makeRows(
  artifactRoot: string,
  rows: { train: number; test: number },
): Promise<RowsFile> {
  const artifacts = openArtifacts(artifactRoot)
  const draft = await artifacts.draft('.parquet')
  const all = rows.train + rows.test
  await withDuck(async (duck) => {
    await duck.run(`copy (
      select
        origin, destination, cast(distance as double) as distance, strftime(date, '%H') as hour,
        lower(strftime(date, '%a')) as weekday,
        case when hash(date, i) % 100 > 0 then (hash(i, origin, date) % 100000) / 1e5 end as recentLateShare,
        cast(delay >= 15 as double) as _label, date as _event_at,
        date + to_minutes(cast(30 + distance / 7.5 + greatest(delay, 0) as bigint)) as _known_at,
        md5(concat(date, origin, destination, distance, delay, i)) as _key,
        case when hash(origin, date, i) % ${all} < ${rows.train} then 'train' else 'test' end as _part
      from range(${Math.ceil(all / 3_000_000)}) as times(i), ${textLiteral(flightsFile)} limit ${all}
    ) to ${textLiteral(draft)} (format parquet, compression zstd)`)
  })
  const { digest, bytes } = await artifacts.take('snapshots', draft)
  return { digest, bytes, path: await artifacts.locate('snapshots', digest) }
}
