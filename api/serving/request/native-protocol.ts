/** Reads and writes Tenure's own protocol: `{"instances":[{…}],"routing_key"?,"reference"?}`, and a prediction with its id for each instance. */
import { writeText, reserve } from '../codec/byte-writer.ts'
import type { Protocol } from './protocol.ts'
import { parsePredict } from '../codec/request-parser.ts'
import { resetInput, type InputBuffer } from '../codec/input-buffer.ts'
import { unknownCategories } from '../codec/unknown-categories.ts'
import { readRow, type LoadedVersion } from '../version/loaded-version.ts'

const comma = Buffer.from(',')
const end = Buffer.from(']}')
const staleEnd = Buffer.from('],"stale":true}')
const unknownKey = '],"unknown_categories":'

export const createPredictProtocol = (maxInstances: number): Protocol => ({
  rows: (body, width) => parsePredict(body, maxInstances, width),
  read(loaded, body, input) {
    if (!loaded.scan(body, input, maxInstances, loaded.ignores)) readParsed(loaded, body, input, maxInstances)
  },
  write(writer, { arm, input, outputs, id, stale }) {
    const { format } = arm.loaded
    reserve(writer, arm.head.byteLength + staleEnd.byteLength)
    writeText(writer, arm.head)
    for (let row = 0; row < input.rows; row++) {
      reserve(writer, 1)
      if (row > 0) writeText(writer, comma)
      format.write(writer, outputs, row, id)
    }
    if (input.unknownTexts > 0) {
      const categories = unknownCategories(arm.loaded.columns, input)
      const text = Buffer.from(`${unknownKey}${categories}${stale ? ',"stale":true' : ''}}`)
      reserve(writer, text.byteLength)
      return writeText(writer, text)
    }
    reserve(writer, staleEnd.byteLength)
    writeText(writer, stale ? staleEnd : end)
  },
})

/** Parses with JSON.parse the bodies that the scanner does not read, and reports the exact error. */
function readParsed(loaded: LoadedVersion, body: Buffer, input: InputBuffer, maxInstances: number): void {
  const { columns } = loaded
  const { instances, routingKey, reference } = parsePredict(body, maxInstances, loaded.maxFields())
  resetInput(input, columns, instances.length)
  for (let i = 0; i < instances.length; i++) readRow(loaded, instances[i]!, i, input)
  input.routingKey = routingKey
  input.reference = reference
}
