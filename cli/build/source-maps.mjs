// @ts-check
// Shows the TypeScript sources in stack traces. Node's own option reads every source map at start, which takes a third of the start of a
// command. This module reads a map when the first error of its file is formatted. Frames of errors from another context are not mapped:
// Temporal's worker runs the workflows once in an empty context, for debuggers, and Node formats an error there that is then dropped. The
// map of the control worker would be read at each start.
import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { fileURLToPath } from 'node:url'

/** @param {string} folder The URL that all compiled files begin with. */
export function showSources(folder) {
  /** @type {Map<string, SourceMap | undefined>} */
  const maps = new Map()
  /** @param {NodeJS.CallSite} frame */
  const format = (frame) => {
    const text = String(frame)
    const url = frame.getFileName()
    // Node strips the types of a model file in place. Its URL names its digest.
    if (!url?.startsWith(folder)) return text.replace(/file:\/\/(\S+)\?v=\w+/, '$1')
    if (!maps.has(url)) maps.set(url, readMap(url))
    const [line, column] = [frame.getLineNumber() ?? 0, frame.getColumnNumber() ?? 0]
    const entry = maps.get(url)?.findEntry(line - 1, column - 1)
    if (entry === undefined || !('originalSource' in entry)) return text
    const source = fileURLToPath(new URL(entry.originalSource, url))
    const position = `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
    return text.replace(`${url}:${line}:${column}`, () => position)
  }
  Error.prepareStackTrace = (error, frames) => {
    const show = error instanceof Error ? format : String
    try {
      return [String(error), ...frames.map((frame) => `    at ${show(frame)}`)].join('\n')
    } catch {
      // Reading a stack must not throw another error.
      return [error?.name, ...frames.map((frame) => `    at ${frame}`)].join('\n')
    }
  }
}

/** Returns undefined if there is no readable map: the position in the compiled file is better than none. @param {string} url */
function readMap(url) {
  try {
    return new SourceMap(JSON.parse(readFileSync(fileURLToPath(`${url}.map`), 'utf8')))
  } catch {
    return undefined
  }
}
