// @ts-check
// Writes the wheel of the Python package without Python: a wheel is a zip of the files and of three that describe them. Equal sources give equal bytes.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32, deflateRawSync } from 'node:zlib'

/** Files with the same content have the same bytes whenever they are written: 1 January 1980 in the form of MS-DOS. */
const dosDate = 0x21
const maxUint32 = 2 ** 32 - 1

/**
 * @param {string} folder The folder of the package, with `pyproject.toml`, `README.md` and `src`.
 * @returns {{ name: string, bytes: Buffer<ArrayBuffer>, sha256: string }}
 */
export function pythonWheel(folder) {
  const project = readFileSync(join(folder, 'pyproject.toml'), 'utf8')
  const [name, version, summary, python] = ['name', 'version', 'description', 'requires-python'].map(
    (field) => {
      const found = new RegExp(`^${field} = "(.*)"$`, 'm').exec(project)?.[1]
      if (found === undefined) throw new Error(`pyproject.toml has no ${field}`)
      return found
    },
  )
  const info = `${name}-${version}.dist-info`
  const sources = readdirSync(join(folder, 'src', 'tenure'))
    .filter((file) => /\.py$|^py\.typed$/.test(file))
    .sort()
    .map((file) => ({ path: `tenure/${file}`, bytes: readFileSync(join(folder, 'src', 'tenure', file)) }))
  const metadata = [
    'Metadata-Version: 2.1',
    `Name: ${name}`,
    `Version: ${version}`,
    `Summary: ${summary}`,
    'License: Apache-2.0',
    `Requires-Python: ${python}`,
    ...extrasOf(project),
    'Description-Content-Type: text/markdown',
    '',
    readFileSync(join(folder, 'README.md'), 'utf8'),
  ]
  const described = [
    { path: `${info}/METADATA`, bytes: Buffer.from(metadata.join('\n')) },
    {
      path: `${info}/WHEEL`,
      bytes: Buffer.from('Wheel-Version: 1.0\nGenerator: tenure\nRoot-Is-Purelib: true\nTag: py3-none-any\n'),
    },
  ]
  const record = [...sources, ...described].map(
    ({ path, bytes }) =>
      `${path},sha256=${createHash('sha256').update(bytes).digest('base64url')},${bytes.length}\n`,
  )
  const recorded = { path: `${info}/RECORD`, bytes: Buffer.from(`${record.join('')}${info}/RECORD,,\n`) }
  const bytes = zip([...sources, ...described, recorded])
  return {
    name: `${name}-${version}-py3-none-any.whl`,
    bytes,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  }
}

/** @param {string} project @returns {string[]} */
function extrasOf(project) {
  const [, section = ''] = /^\[project\.optional-dependencies\]\n((?:\S+ = \[.*\]\n)*)/m.exec(project) ?? []
  return [...section.matchAll(/^(\S+) = (\[.*\])$/gm)].flatMap(([, extra, listed]) => [
    `Provides-Extra: ${extra}`,
    .../** @type {string[]} */ (JSON.parse(/** @type {string} */ (listed))).map(
      (each) => `Requires-Dist: ${each} ; extra == "${extra}"`,
    ),
  ])
}

/** @param {{ path: string, bytes: Buffer }[]} files @returns {Buffer<ArrayBuffer>} */
function zip(files) {
  /** @type {Buffer[]} */
  const parts = []
  /** @type {Buffer[]} */
  const directory = []
  let at = 0
  for (const { path, bytes } of files) {
    const packed = deflateRawSync(bytes, { level: 9 })
    const about = Buffer.alloc(26)
    // Version 2.0, a name in UTF-8, deflated, the date, the checksum, both sizes, and the length of the name.
    about.writeUInt16LE(20, 0)
    about.writeUInt16LE(0x800, 2)
    about.writeUInt16LE(8, 4)
    about.writeUInt16LE(dosDate, 8)
    about.writeUInt32LE(crc32(bytes), 10)
    about.writeUInt32LE(packed.length, 14)
    about.writeUInt32LE(bytes.length, 18)
    about.writeUInt16LE(Buffer.byteLength(path), 22)
    const local = [Buffer.from('PK\x03\x04'), about, Buffer.from(path), packed]
    parts.push(...local)
    const rest = Buffer.alloc(14)
    // A regular file that everybody may read, and where it begins.
    rest.writeUInt32LE((0o100644 << 16) >>> 0, 6)
    rest.writeUInt32LE(at, 10)
    directory.push(Buffer.from('PK\x01\x02'), Buffer.from([20, 3]), about, rest, Buffer.from(path))
    at += local.reduce((sum, each) => sum + each.length, 0)
  }
  const central = Buffer.concat(directory)
  if (at + central.length > maxUint32) throw new Error('the wheel is larger than 4 GiB')
  const end = Buffer.alloc(18)
  end.writeUInt16LE(files.length, 4)
  end.writeUInt16LE(files.length, 6)
  end.writeUInt32LE(central.length, 8)
  end.writeUInt32LE(at, 12)
  return Buffer.concat([...parts, central, Buffer.from('PK\x05\x06'), end])
}
