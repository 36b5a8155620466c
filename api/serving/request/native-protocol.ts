/** Our own way of asking: `{"instances":[{…}],"routing_key"?}`, answered with one prediction an instance and its id. */
import { put, reserve } from '../codec/byte-writer.ts'
import type { Protocol } from './protocol.ts'
import { parsePredict } from '../codec/request-parser.ts'
import { beginSheet, keepRow, type Sheet } from '../codec/input-buffer.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

const comma = Buffer.from(',')
const end = Buffer.from(']}')
const staleEnd = Buffer.from('],"stale":true}')

export const createPredictProtocol = (mostInstances: number): Protocol => ({
  read(loaded, body, sheet) {
    if (!loaded.scan(body, sheet, mostInstances)) readSlowly(loaded, body, sheet, mostInstances)
  },
  write(ink, { arm, sheet, outputs, id, stale }) {
    const { format } = arm.loaded
    reserve(ink, arm.head.byteLength + staleEnd.byteLength)
    put(ink, arm.head)
    for (let row = 0; row < sheet.rows; row++) {
      reserve(ink, 1)
      if (row > 0) put(ink, comma)
      format.write(ink, outputs, row, id)
    }
    reserve(ink, staleEnd.byteLength)
    put(ink, stale ? staleEnd : end)
  },
})

/** By way of JSON.parse: for whatever the scanner gives up on, and to say what is wrong. */
function readSlowly(loaded: LoadedVersion, body: Buffer, sheet: Sheet, mostInstances: number): void {
  const { columns } = loaded
  const { instances, routingKey } = parsePredict(body, mostInstances, columns.all.length)
  beginSheet(sheet, columns, instances.length)
  for (let i = 0; i < instances.length; i++) {
    loaded.read(instances[i], i, sheet.input, i * columns.width)
    keepRow(sheet, columns, instances[i]!, i)
  }
  sheet.routingKey = routingKey
}
