"""cs_mcp: customer success over MCP, on a store that remembers every change."""
