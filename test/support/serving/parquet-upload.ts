/** Parses one Parquet file like the outcomes route, in a process whose heap the test limits. Prints the error code of the refusal. */
import { createReadStream } from 'node:fs'
import { ingestParquet } from '../../../api/outcomes/parquet-files.ts'
import { isError } from '../../../domain/errors.ts'

const [path = ''] = process.argv.slice(2)
const intake = { key: 'prediction_id' as const, takeRow: () => Promise.resolve() }
await ingestParquet(createReadStream(path), intake).then(
  () => process.stdout.write('taken'),
  (error: unknown) =>
    process.stdout.write(isError(error) ? `${error.code}: ${error.message}` : String(error)),
)
