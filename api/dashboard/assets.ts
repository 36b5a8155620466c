/**
 * The files of the pages. Each is asked for by a name with a part of its hash, so that browsers keep it for ever and never show a
 * page with the style sheet of another release.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const types = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const own = (name: string) => fileURLToPath(new URL(`./assets/${name}`, import.meta.url))

/** Name → where it lies. */
const places = {
  'style.css': () => own('style.css'),
  'page.js': () => own('page.js'),
  'icon.svg': () => own('icon.svg'),
  'htmx.js': () => createRequire(import.meta.url).resolve('htmx.org/dist/htmx.min.js'),
} as const

export type AssetName = keyof typeof places

interface Held {
  bytes: Uint8Array<ArrayBuffer>
  hash: string
}

const held = new Map<AssetName, Promise<Held>>()

function hold(name: AssetName): Promise<Held> {
  const known = held.get(name)
  if (known !== undefined) return known
  const reading = readFile(places[name]()).then((bytes) => ({
    bytes: Uint8Array.from(bytes),
    hash: createHash('sha256').update(bytes).digest('hex').slice(0, 12),
  }))
  held.set(name, reading)
  reading.catch(() => held.delete(name))
  return reading
}

/** Where each file is to be asked for. */
export async function addressesOfAssets(): Promise<Record<AssetName, string>> {
  const names = Object.keys(places) as AssetName[]
  const found = await Promise.all(
    names.map(async (name) => {
      const [stem, ending] = name.split('.')
      return [name, `/assets/${stem}.${(await hold(name)).hash}.${ending}`] as const
    }),
  )
  return Object.fromEntries(found) as Record<AssetName, string>
}

export interface Asset {
  bytes: Uint8Array<ArrayBuffer>
  type: string
  /** Whether the hash in its name is that of its bytes. A replica that was just replaced may have made the page. */
  isCurrent: boolean
}

export async function findAsset(file: string): Promise<Asset | undefined> {
  const [, stem, hash, ending] = /^([a-z]+)\.([0-9a-f]{12})\.([a-z]+)$/.exec(file) ?? []
  const name = `${stem}.${ending}`
  if (!Object.hasOwn(places, name)) return undefined
  const { bytes, hash: current } = await hold(name as AssetName)
  return { bytes, type: types[ending as keyof typeof types], isCurrent: hash === current }
}
