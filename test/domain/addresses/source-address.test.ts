import { describe, expect, it } from 'vitest'
import { isRemoteFile, issueOfSourceFile, parseS3Address } from '../../../domain/addresses/source-address.ts'

describe('a file of a source', () => {
  it.each([
    'models/data/iris.csv',
    's3://rows/2026/flights.parquet',
    'https://example.com/rows/iris.csv?version=3',
    'http://10.0.0.9:8080/iris.csv',
  ])('may be %s', (file) => expect(issueOfSourceFile(file)).toBeUndefined())

  it.each([
    ['/etc/passwd', /a path inside the project, s3:/],
    ['../rows.csv', /a path inside the project/],
    ['a\\b.csv', /a path inside the project/],
    ['gs://rows/iris.csv', /a path inside the project/],
    ['file:///etc/passwd', /a path inside the project/],
    ['', /a path inside the project/],
    [7, /a path inside the project is required, not 7/],
    ['s3://rows', /has a bucket and a key/],
    ['s3://Rows/iris.csv', /has a bucket and a key/],
    ['s3://rows/../iris.csv', /has a bucket and a key/],
    ['https://', /is not an address/],
    ['https://ada:secret@example.com/iris.csv', /holds no user and no password/],
  ])('may not be %s', (file, says) => expect(issueOfSourceFile(file)).toMatch(says))

  it('is downloaded when it is an address', () => {
    expect(['iris.csv', 's3://rows/iris.csv', 'https://x/y', 's3/rows.csv'].map(isRemoteFile)).toEqual([
      false,
      true,
      true,
      false,
    ])
    expect(parseS3Address('s3://rows/a/b c.csv')).toEqual({ bucket: 'rows', key: 'a/b c.csv' })
    expect(parseS3Address('https://rows/a')).toBeUndefined()
  })
})
