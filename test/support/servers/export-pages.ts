/** Serves the folders of exported versions to a real browser, as any web server would. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import type { Page } from 'playwright-core'
import { startBrowser } from '../dashboard/browser.ts'

const types: Record<string, string> = {
  '.js': 'text/javascript',
  '.html': 'text/html',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
}

export interface ExportPages {
  origin: string
  /** Opens an empty page. `troubles` gets its errors and warnings, and each request to another server. */
  newPage(): Promise<{ page: Page; troubles: string[] }>
  close(): Promise<void>
}

export async function openExportPages(root: string): Promise<ExportPages> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)
    try {
      const file = join(root, path.endsWith('/') ? `${path}index.html` : path)
      const bytes = readFileSync(file)
      const type = types[extname(file)] ?? 'application/octet-stream'
      response.writeHead(200, { 'content-type': type }).end(bytes)
    } catch {
      response.writeHead(404).end()
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const browser = await startBrowser()
  return {
    origin,
    async newPage() {
      const page = await browser.newPage()
      const troubles: string[] = []
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') troubles.push(message.text())
      })
      page.on('pageerror', (error) => troubles.push(error.message))
      page.on('request', (request) => {
        const url = request.url()
        if (!url.startsWith(origin) && !url.startsWith('data:')) troubles.push(url)
      })
      return { page, troubles }
    },
    async close() {
      await browser.close()
      server.close()
    },
  }
}
