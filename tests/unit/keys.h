#pragma once
/* keys - PEM keys made for the tests and used for nothing else */

/* clang-format off */
#define KEY_RSA_2048 \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtAr5h9jramuTB3e6+tk/\n" \
    "IHCbIrHZr/i1DvjROjJScNUPtVPraJFAFH6wVsFSwdo6ZxlreZj/LU2C5g9Em5UI\n" \
    "c8fqpTTX9D662CXMDR6rotcorl+nkzAK1Zjnn0xvhB97Jkcwtee7/xVKDWUGdRKW\n" \
    "UwlZBW3cV2UaYbgodImf1HjxW8CdIpBCl7fMUyRDhbfGkdM+Qhh/JzfrkADvLhSU\n" \
    "Wb17e4kv0rVzqOnAgNyj1Ud+8aoGmx1vJP199hc6F079GcN0GmKyG5lztojSkVoF\n" \
    "S96OdbzHCZv06ooXzx0E5OGN6aXbXPowKhLaLrBsXOMkBlGkLp3sh+x+8pfqu5p1\n" \
    "wQIDAQAB\n" \
    "-----END PUBLIC KEY-----\n"

#define KEY_RSA_1024 \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQD19dr0t9T+MkccGYUGn+IBGYs4\n" \
    "g6JRvBa8qSi0b5rbac8Slu73AXTR8PbUdsS7V3owAEWMadPeaXQhS0dT6YeT0jBU\n" \
    "kLD1Cf+8Axx9VubVXDdvSUKjTkGb8eSL0R6u+sxsfIUg5r6wbmjy9Hr3aAePRe2E\n" \
    "nKoL/OLYvjxaKmhsWwIDAQAB\n" \
    "-----END PUBLIC KEY-----\n"

#define KEY_P256 \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5YQdutbER/XgBYngWjqhWUpEvlRv\n" \
    "fzdvAoQESOh5iEv8ijDpVPHgVKX4yH3vViw6hLUHC0Kj+x2lR7c7c44eng==\n" \
    "-----END PUBLIC KEY-----\n"

#define KEY_P384 \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEgdrPSSzCil9WNEjewFjNQeMg4zI0l3OJ\n" \
    "RqeXDJMhJAh2pgMxTySuHoi7bII6igbiPLcv6ZiMxp4b6tGoCr7WTbS8p9hziJ+Z\n" \
    "SUJiOCfFNmlBk99Yne6AZ1u5tkaTUWGj\n" \
    "-----END PUBLIC KEY-----\n"

#define KEY_ED25519 \
    "-----BEGIN PUBLIC KEY-----\n" \
    "MCowBQYDK2VwAyEAg6M3QS859TZ82mGsE+trOZTEiQtO4Ij8SAxtieph23M=\n" \
    "-----END PUBLIC KEY-----\n"
/* clang-format on */
