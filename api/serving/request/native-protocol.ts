/** Reads and writes Tenure's own protocol: `{"instances":[{…}],"routing_key"?,"reference"?}`, and a prediction with its id for each instance. */
import { writeText, reserve } from '../codec/byte-writer.ts'
import type { Protocol } from './protocol.ts'
import { fillInstances, readInstances, type InstancesForm } from '../codec/instances.ts'
import { unknownCategories } from '../codec/unknown-categories.ts'
import { requestSizeOf } from '../version/loaded-version.ts'

const comma = Buffer.from(',')
const end = Buffer.from(']}')
const staleEnd = Buffer.from('],"stale":true}')
const unknownKey = '],"unknown_categories":'

const form: InstancesForm = { takesLists: false, none: '"instances" is empty', rows: 'instances' }

export const createPredictProtocol = (maxInstances: number): Protocol => ({
  rows: (body, loaded) => readInstances(body, requestSizeOf(loaded, maxInstances), form),
  read(loaded, body, input) {
    fillInstances(loaded, { body, size: requestSizeOf(loaded, maxInstances), form }, input)
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
