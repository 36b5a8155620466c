/** Sends one JSON request on keep-alive connections. Rejects with the error code of the connection, or `timeout`. */
import { request as httpRequest, type Agent } from 'node:http'
import { parseJson } from '../../domain/parse-json.ts'

export interface Sent<Body> {
  status: number
  body: Body
}

export function sendJson<Body>(
  agent: Agent,
  url: string,
  body: unknown,
  { timeoutMs, headers = {} }: { timeoutMs: number; headers?: Record<string, string> },
): Promise<Sent<Body>> {
  const text = JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const call = httpRequest(
      url,
      {
        agent,
        method: 'POST',
        timeout: timeoutMs,
        headers: {
          ...headers,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
        },
      },
      (response) => {
        let received = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (received += chunk))
        response.on('error', reject)
        response.on('end', () => {
          const body = parseJson<Body>(received)
          if (body === undefined) reject(new Error(`response ${response.statusCode} is not JSON`))
          else resolve({ status: response.statusCode ?? 0, body })
        })
      },
    )
    call.on('timeout', () => call.destroy(new Error('timeout')))
    call.on('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code ?? error.message)))
    call.end(text)
  })
}
