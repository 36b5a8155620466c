/** `/v1/clients/python`: offers the Python package of this version as a wheel, so that no package index is needed. */
import { join } from 'node:path'
import { pythonWheel } from './python-wheel.mjs'
import { DomainError } from '../../domain/errors.ts'
import { checkout } from '../../temporal.config.ts'
import { defineRoute, type RouteDefinition } from '../http/route.ts'

let made: ReturnType<typeof pythonWheel> | undefined
/** Made once, at the first request, in some milliseconds. */
const wheel = () => (made ??= pythonWheel(join(checkout, 'packages', 'python')))

/** Public, because pip sends no key, and the package is no secret. */
export const pythonClientRoutes = (): RouteDefinition[] => [
  defineRoute('get', '/v1/clients/python', 'public', {
    summary:
      'List the wheel of the Python package as a page that pip reads: `pip install --no-index --find-links <url>/v1/clients/python tenure`.',
    answers: { 200: 'A page with a link to the wheel and its SHA-256' },
    answerMedia: 'text/html',
    handle() {
      const { name, sha256 } = wheel()
      return {
        text: `<!doctype html><title>Python packages</title><a href="python/${name}#sha256=${sha256}">${name}</a>\n`,
        type: 'text/html; charset=utf-8',
      }
    },
  }),
  defineRoute('get', '/v1/clients/python/:file', 'public', {
    summary: 'Download the wheel of the Python package.',
    answers: { 200: 'The wheel', 404: 'Another file' },
    answerMedia: 'application/zip',
    // pip calls it; generators of clients know no archives.
    internal: true,
    handle({ params }) {
      const { name, bytes } = wheel()
      if (params['file'] !== name)
        throw new DomainError('not_found', `there is no file ${params['file']}: this version offers ${name}`)
      return { text: bytes, type: 'application/zip' }
    },
  }),
]
