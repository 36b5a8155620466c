/**
 * Reads which columns of a Parquet file are durations. Parquet has no such type: Arrow writes whole numbers, and their unit only into the
 * schema of its own that it adds to the footer, a FlatBuffers message in base64.
 */
const durationType = 18

/** Places in the tables of Arrow's Schema.fbs and Message.fbs. */
const [headerOfMessage, fieldsOfSchema, nameOfField, typeOfField] = [2, 1, 0, 2]

/** Returns the names of the columns that are durations; none for a schema that cannot be read. */
export function durationColumns(schema: string): string[] {
  try {
    const bytes = Buffer.from(schema, 'base64')
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    // Eight bytes stand before the message: a mark and the length.
    const message = follow(view, 8)
    const header = fieldOf(view, message, headerOfMessage)
    const fields = fieldOf(view, follow(view, header!), fieldsOfSchema)
    const list = follow(view, fields!)
    return Array.from({ length: view.getUint32(list, true) }, (_, at) =>
      follow(view, list + 4 + 4 * at),
    ).flatMap((field) => {
      const [type, name] = [fieldOf(view, field, typeOfField), fieldOf(view, field, nameOfField)]
      if (type === undefined || name === undefined || view.getUint8(type) !== durationType) return []
      const text = follow(view, name)
      return [bytes.toString('utf8', text + 4, text + 4 + view.getUint32(text, true))]
    })
  } catch {
    return []
  }
}

const follow = (view: DataView, at: number): number => at + view.getUint32(at, true)

/** Where a field of a table stands; undefined for one that is not written. */
function fieldOf(view: DataView, table: number, field: number): number | undefined {
  const offsets = table - view.getInt32(table, true)
  const at = 4 + 2 * field
  const offset = at < view.getUint16(offsets, true) ? view.getUint16(offsets + at, true) : 0
  return offset === 0 ? undefined : table + offset
}
