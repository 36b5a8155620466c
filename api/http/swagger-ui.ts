/**
 * Serves the OpenAPI document as an interactive page. The content security policy lets the page load from and send to this host only, so
 * that no name or summary can reach another host.
 */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

export interface SwaggerAsset {
  bytes: Uint8Array<ArrayBuffer>
  type: string
}

const types = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
} as const

const starter = 'start.js'

/** Allows no inline code, no other host and no frames. The CSS embeds its images as data. */
export const explorerHeaders: Record<string, string> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
}

export const explorerPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tenure: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<noscript>This page needs JavaScript; <a href="/docs/errors">/docs/errors</a> and /openapi.json do not.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/${starter}"></script>
</body>
</html>
`

const start = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#api',
  docExpansion: 'list',
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  filter: true,
  validatorUrl: null,
})
`

/** Returns a file of the page; undefined for every other name. */
export async function findSwaggerAsset(name: string): Promise<SwaggerAsset | undefined> {
  if (name === starter) return { bytes: new TextEncoder().encode(start), type: types['swagger-ui-bundle.js'] }
  if (!Object.hasOwn(types, name)) return undefined
  const directory = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))
  return {
    bytes: Uint8Array.from(await readFile(join(directory, name))),
    type: types[name as keyof typeof types],
  }
}
