// @ts-check
// Puts the sources of a process and its packages together into a few files. They lie in a directory named by their content,
// so that processes which start at once do not disturb each other, and one that runs still finds what it loads late.
import { build } from 'esbuild'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { bundlesOf, entryIn, manifestOf, markOf } from './bundle.mjs'

/** Earlier bundles that are kept, for processes that still run from them. */
const keptBundles = 4
/** How far the times of files are behind the clock at most. */
const tickMs = 20
/** What decides over the result without being part of it. */
const makers = [
  'tsconfig.json',
  'api/start/bundle.mjs',
  'api/start/make-bundle.mjs',
  'node_modules/esbuild/package.json',
]

/**
 * Answers the file to run.
 * @param {string} root @param {string} entry
 */
export async function makeBundle(root, entry) {
  const bundles = bundlesOf(root)
  mkdirSync(bundles, { recursive: true })
  const draft = mkdtempSync(join(bundles, 'draft-'))
  const beganMs = Date.now()
  try {
    const { metafile } = await build({
      absWorkingDir: root,
      entryPoints: [entry],
      outdir: draft,
      bundle: true,
      splitting: true,
      metafile: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      outExtension: { '.js': '.mjs' },
      sourcemap: 'linked',
      sourcesContent: false,
      // Optional parts of packages that are not installed.
      external: ['pg-native'],
      // As newer versions of Node have it. Where nothing tells the driver of Postgres what it runs on, it makes a response of the
      // fetch API to see, for which Node loads all of that.
      define: { navigator: '{"userAgent":"Node.js"}' },
      banner: { js: beginning },
      plugins: [places(root), languages],
      logLevel: 'silent',
    })
    // Some are no files, and have names that no file has.
    const inputs = Object.keys(metafile.inputs).filter((path) => !/^[(<]/.test(path))
    const directory = settle(bundles, draft)
    const marks = [...makers, ...inputs].map((path) => /** @type {const} */ ([path, markOf(root, path)]))
    // Of a file that was written meanwhile nobody knows which content was put together: the next start does it anew.
    if (marks.every(([, [, mtimeMs]]) => mtimeMs < beganMs - tickMs)) {
      /** @type {import('./bundle.mjs').Manifest} */
      const manifest = { directory, inputs: Object.fromEntries(marks) }
      const path = manifestOf(root, entry)
      writeFileSync(`${path}.${process.pid}`, JSON.stringify(manifest))
      renameSync(`${path}.${process.pid}`, path)
    }
    forget(bundles, directory)
    return entryIn(join(bundles, directory), entry)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** What each file of the bundle begins with. Packages that were written for `require` call it for Node's own modules. */
const beginning = [
  `import { createRequire as requireOf } from 'node:module'`,
  `const bundleUrl = import.meta.url`,
  `const require = requireOf(bundleUrl)`,
].join('; ')

/**
 * Files that ask where they are get told where their source is, relative to the bundle, so that a checkout can be moved.
 * @param {string} root @returns {import('esbuild').Plugin}
 */
const places = (root) => ({
  name: 'places',
  setup({ onLoad }) {
    onLoad({ filter: /\.[cm]?[jt]s$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8')
      const asks = /\bimport\.meta\.url\b|\b__(?:dir|file)name\b/.test(text)
      if (!asks) return undefined
      const url = `new URL(${JSON.stringify(`../../../../${relative(root, path)}`)}, bundleUrl)`
      const loader = path.endsWith('ts') ? /** @type {const} */ ('ts') : /** @type {const} */ ('js')
      return {
        loader,
        contents: text.replaceAll(/\bimport\.meta\.url\b|\b__dirname\b|\b__filename\b/g, (word) =>
          word === 'import.meta.url'
            ? `${url}.href`
            : word === '__filename'
              ? `decodeURIComponent(${url}.pathname)`
              : `decodeURIComponent(new URL('.', ${url}).pathname)`,
        ),
      }
    })
  },
})

/**
 * Issues are told in English. The other fifty languages of zod are a third of it.
 * @type {import('esbuild').Plugin}
 */
const languages = {
  name: 'languages',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: `export { default as en } from './en.js'`,
    }))
  },
}

/** Gives the draft the name of its content. @param {string} bundles @param {string} draft */
function settle(bundles, draft) {
  const hash = createHash('sha256')
  for (const name of readdirSync(draft).sort())
    hash.update(`${name}\n`).update(readFileSync(join(draft, name)))
  const directory = hash.digest('hex').slice(0, 16)
  try {
    renameSync(draft, join(bundles, directory))
  } catch (error) {
    // The same content is there already.
    if (!['ENOTEMPTY', 'EEXIST'].includes(/** @type {NodeJS.ErrnoException} */ (error).code ?? ''))
      throw error
  }
  return directory
}

/** @param {string} bundles @param {string} current */
function forget(bundles, current) {
  const old = readdirSync(bundles)
    .filter((name) => /^[0-9a-f]{16}$/.test(name) && name !== current)
    .map((name) => ({ name, atMs: statSync(join(bundles, name)).mtimeMs }))
    .sort((a, b) => b.atMs - a.atMs)
  for (const { name } of old.slice(keptBundles)) rmSync(join(bundles, name), { recursive: true, force: true })
}
