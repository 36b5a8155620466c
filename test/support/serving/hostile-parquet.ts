/** Writes Parquet files that are small on disk and large in memory. */

/** Thrift's compact protocol: one byte with the field's delta and type, then its value. */
const types = { i32: 5, i64: 6, binary: 8, list: 9, struct: 12 } as const
type Field = [id: number, type: keyof typeof types, value: Buffer]

const varint = (value: number): Buffer => {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  return Buffer.from([...bytes, Number(rest)])
}
const number = (value: number): Buffer => varint(value * 2)
const text = (value: string): Buffer => Buffer.concat([varint(value.length), Buffer.from(value)])
const list = (type: keyof typeof types, count: number, items: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0xf0 | types[type]]), varint(count), items])
function struct(...fields: Field[]): Buffer {
  let last = 0
  const parts = fields.map(([id, type, value]) => {
    const head = Buffer.from([((id - last) << 4) | types[type]])
    last = id
    return Buffer.concat([head, value])
  })
  return Buffer.concat([...parts, Buffer.from([0])])
}

function fileOf(pages: Buffer, footer: Buffer): Buffer<ArrayBuffer> {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(footer.byteLength)
  return Buffer.concat([Buffer.from('PAR1'), pages, footer, length, Buffer.from('PAR1')])
}

/** Builds a file that consists of a footer: a list of empty column descriptions, one byte each. */
export const allFooter = (bytes: number): Buffer<ArrayBuffer> =>
  fileOf(
    Buffer.alloc(0),
    struct(
      [1, 'i32', number(1)],
      [2, 'list', list('struct', bytes, Buffer.alloc(bytes))],
      [3, 'i64', number(0)],
      [4, 'list', list('struct', 0, Buffer.alloc(0))],
    ),
  )

/** Builds a file of a few hundred bytes whose first page announces this many values in one run, or this many bytes. */
export function hugePage({ values = 1, bytes }: { values?: number; bytes?: number }): Buffer<ArrayBuffer> {
  const run = Buffer.concat([varint(values * 2), Buffer.from([0])])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(run.byteLength)
  const levels = Buffer.concat([length, run])
  const [plain, rle] = [number(0), number(3)]
  const header = struct(
    [1, 'i32', number(0)],
    [2, 'i32', number(bytes ?? levels.byteLength)],
    [3, 'i32', number(levels.byteLength)],
    [5, 'struct', struct([1, 'i32', number(values)], [2, 'i32', plain], [3, 'i32', rle], [4, 'i32', rle])],
  )
  const page = Buffer.concat([header, levels])
  const names = ['prediction_id', 'value', 'observed_at']
  const column = (name: string): Buffer =>
    struct(
      [2, 'i64', number(4)],
      [
        3,
        'struct',
        struct(
          [1, 'i32', number(6)],
          [2, 'list', list('i32', 1, plain)],
          [3, 'list', list('binary', 1, text(name))],
          [4, 'i32', number(bytes === undefined ? 0 : 1)],
          [5, 'i64', number(values)],
          [6, 'i64', number(page.byteLength)],
          [7, 'i64', number(page.byteLength)],
          [9, 'i64', number(4)],
        ),
      ],
    )
  const element = (name: string): Buffer =>
    struct([1, 'i32', number(6)], [3, 'i32', number(1)], [4, 'binary', text(name)])
  const root = struct([4, 'binary', text('root')], [5, 'i32', number(3)])
  const group = struct(
    [1, 'list', list('struct', 3, Buffer.concat(names.map(column)))],
    [2, 'i64', number(page.byteLength)],
    [3, 'i64', number(1)],
  )
  return fileOf(
    page,
    struct(
      [1, 'i32', number(1)],
      [2, 'list', list('struct', 4, Buffer.concat([root, ...names.map(element)]))],
      [3, 'i64', number(1)],
      [4, 'list', list('struct', 1, group)],
    ),
  )
}
